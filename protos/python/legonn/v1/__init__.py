"""The wire contract as generated code: see protos/legonn/v1. Never edited."""
