"""What the tests with real clients share: a broker of their own, and clients."""
