"""Index the words of prompts, and find them by that index alone; PostgreSQL only."""

from django.db import migrations

from interceptions.fulltext import FUNCTION, INDEX_EXPRESSION

_INDEX = (
    f"CREATE INDEX prompt_words ON interceptions_userprompt USING gin ({INDEX_EXPRESSION})"
    # A small pending list keeps the one insert that empties it short.
    " WITH (fastupdate = on, gin_pending_list_limit = 512)"
)
_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {FUNCTION}(words text, most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE ROWS 1000
SET enable_seqscan = off SET enable_indexscan = off SET enable_indexonlyscan = off
AS $$
  SELECT interception_id FROM interceptions_userprompt
  WHERE {INDEX_EXPRESSION} @@ to_tsquery('simple'::regconfig, words) LIMIT most
$$
"""


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX IF EXISTS prompt_words", params=None)
        schema_editor.execute(_INDEX, params=None)
        schema_editor.execute(_FUNCTION, params=None)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP FUNCTION IF EXISTS {FUNCTION}", params=None)
        schema_editor.execute("DROP INDEX IF EXISTS prompt_words", params=None)


class Migration(migrations.Migration):
    dependencies = [("interceptions", "0006_sessions_by_time")]

    operations = [migrations.RunPython(create, drop)]
