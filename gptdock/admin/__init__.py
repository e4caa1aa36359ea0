"""What operators do: look at clients and change their quotas, report usage, audit the books."""
