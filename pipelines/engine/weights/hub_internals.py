"""Private names of huggingface_hub, read from 2.4; no other module uses any.

`default_client_factory`: its client has the token's hooks; a factory of ours changes it and must not lose them.
`write_tree_cache`: what lists a commit's files where the Hub is offline; the library fills it in downloads of its own.
"""

from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache
from huggingface_hub.utils._http import default_client_factory

__all__ = ["TreeCacheEntry", "default_client_factory", "write_tree_cache"]
