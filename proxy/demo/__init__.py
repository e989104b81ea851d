"""A local stand-in for a provider, so that a fresh clone answers without any key.

It makes its answers up. Knows nothing of the gateway in front of it.
"""
