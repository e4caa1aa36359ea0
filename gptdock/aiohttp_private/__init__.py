"""The undocumented parts of aiohttp that GPTDock relies on; no other package uses any.

    reading     a connection that resumes only what was paused
    server      a server's connection that tells what was read, and when it reads no more
    tap         hands on the body of an answer from the loop's own callbacks, where it comes chunk by chunk past the
                parser; `can_tap` looks whether it fits
    pool        connections to an upstream, each used again only if nobody's answer can be left on it; one that ends
                tells the reader of its body, and one that has a stream lets go of heads and of what a handshake took
    posting     POST requests of a session without the work that it does anew for each; `can_post` looks whether it fits

Written for aiohttp 3.14. tests/aiohttp_private has a test for each and fails with a version that differs.
"""
