"""OpenAI's routes: one room for each, which alone knows the shapes of its requests and answers.

A room reads a request and bounds its cost in tokens, because its hold is taken before the upstream is asked: the tokens
of what the model reads, and the longest answer, which is sent upstream as a limit. All rooms are pure.
"""
