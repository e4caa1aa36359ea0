"""The books: what a client's quota is, who holds what of it, and how that reaches DynamoDB."""
