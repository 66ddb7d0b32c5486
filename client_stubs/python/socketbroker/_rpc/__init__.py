"""The error details of google.rpc under another name: see setup.py."""
