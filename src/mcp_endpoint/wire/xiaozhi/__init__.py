"""What a Xiaozhi server is told of results and errors, which it reads out to a person.

Lowest first: cut and unspeakable; spoken; answers.
"""
