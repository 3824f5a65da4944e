"""What the product is for, as its partners' engineers would write it: GraphQL over HTTP, no more.

Each module is one job, start to end, against a server in a process of its own that the whole folder
shares; each test is a partner with its own organization and keys. Where time matters it is a second
ahead, and what is waited for is asked of the API. In the end `ledgers verify` looks at the whole
database.
"""
