"""What the documents print from the code: state pictures, example events, journals. `python -m tests.documents`."""
