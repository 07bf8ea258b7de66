"""One package per endpoint family; each is its own Lambda function."""
