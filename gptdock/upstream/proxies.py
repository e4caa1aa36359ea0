"""Which proxy leads to the upstream, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY: the rules of urllib, as for DynamoDB.

aiohttp's `trust_env` would read them for each request, and ~/.netrc with them, whose user for the upstream's host would
collide with our key.
"""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from gptdock.errors import SettingsError


def proxy_for(url: str) -> str | None:
    """The URL of the proxy, or None. Raises SettingsError if it is one that cannot be used, such as SOCKS."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https") or not urlsplit(proxy).hostname:
        raise SettingsError(f"{parts.scheme.upper()}_PROXY must be an http or https URL with a host")
    return proxy
