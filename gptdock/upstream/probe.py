"""Asks OpenAI for its models: whether the key is accepted, and the models of the settings exist. It costs nothing."""

import aiohttp

from gptdock.settings import Settings
from gptdock.upstream.proxies import proxy_for

PATIENCE_SECONDS = 10.0


async def key(settings: Settings) -> str:
    """What is wrong with the key, the address or the models; an empty text if nothing is. Raises SettingsError."""
    url = f"{settings.openai_base_url}/models"
    headers = {"Authorization": f"Bearer {settings.open_ai_key}"}
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers=headers, proxy=proxy_for(url)) as response,
        ):
            if response.status != 200:
                return f"OPEN_AI_KEY or OPENAI_BASE_URL: the upstream answers {response.status}"
            listed = {str(each["id"]) for each in (await response.json(content_type=None))["data"]}
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as exc:
        return f"OPENAI_BASE_URL: no list of models comes ({type(exc).__name__})"
    missing = [model for model in (settings.openai_model, *settings.openai_models) if model not in listed]
    return f"the upstream does not list {', '.join(missing)}" if missing else ""
