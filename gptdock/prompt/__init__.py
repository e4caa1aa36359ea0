"""What the caller asks: requests read from JSON, their prompts counted, the upstream's request made of them."""
