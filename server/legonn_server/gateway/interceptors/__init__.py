"""What every call passes through: request id, counting, and errors as statuses."""
