"""What an operator can do, as functions that return values and raise errors; the command line and the API are their
faces, and spell options and fields."""
