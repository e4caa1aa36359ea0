"""GPTDock: token quotas between a backend and OpenAI's chat completions.

One request, told through the packages:

    http        accepts the connection, asks for the key, reads the body, and counts the request against MAX_STREAMS
    prompt      checks the question, assembles OpenAI's messages, and counts their tokens
                (on OpenAI's own routes `routes` does so with what the caller sent)
    ledger      holds the most that the answer may cost; without room for it the request ends here, with 402 or 429
    upstream    sends the request to OpenAI, repeats it where that is safe, and waits for the first event
    http        `relay` passes each event on to the caller as it comes
    upstream    `meter` notes what the events report as used, and keeps their text in case it must be counted
    ledger      replaces the hold by what was used, with a receipt, once the last byte went out
    telemetry   writes one line about the request, and counts it

`admin` is what operators do, for the routes and for the commands of `cli` alike. `dev` is the local stack of `make
run`: a simulated OpenAI and moto's DynamoDB. `settings` is read once, at the start. The theory of each part is in the
docstring of its package; the longest is `gptdock.ledger`, whose rules all others rely on.

A package imports from lines below its own only, and packages on one line do not import each other:

    __main__
    cli
    dev
    http
    routes
    admin | upstream | prompt
    ledger
    accounts, settings
    telemetry
    errors, moments, near_misses, aiohttp_private
    quotas

`routes`, `upstream` and `prompt` import nothing of `ledger`: what is charged is the business of none. A module whose
docstring begins with "Pure: " takes values and returns values, without `await`, clock or log. An outside library is
imported only by the modules that own it. tests/test_architecture.py checks imports, libraries and pure modules.
"""
