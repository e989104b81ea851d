"""Paths of reading over REST."""

from __future__ import annotations

from django.urls import path

from interceptions.api import exportviews, optionviews, views
from providers.api.routes import route

urlpatterns = [
    *route("interceptions", views.InterceptionList, name="interceptions"),
    *route("interceptions/<uuid:pk>", views.InterceptionDetail, name="interception"),
    *route("sessions", views.SessionList, name="sessions"),
    *route("sessions/<str:pk>", views.SessionDetail, name="session"),
    *route("models", optionviews.ModelList, name="models"),
    *route("clients", optionviews.ClientList, name="clients"),
    *route("provider-names", optionviews.ProviderNameList, name="provider-names"),
    path("exports/interceptions.csv", exportviews.InterceptionsCsv.as_view()),
    path("exports/interceptions.jsonl", exportviews.InterceptionsJsonl.as_view()),
    path("exports/sessions.csv", exportviews.SessionsCsv.as_view()),
    path("exports/sessions.jsonl", exportviews.SessionsJsonl.as_view()),
]
