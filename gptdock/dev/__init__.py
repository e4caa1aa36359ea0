"""The local stack, for `gptdock dev` and for tests: a simulated OpenAI, and moto's DynamoDB over HTTP."""
