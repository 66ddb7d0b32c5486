"""The messages and stubs, generated from protos/socketbroker/v1."""
