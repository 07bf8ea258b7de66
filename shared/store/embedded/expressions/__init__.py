"""DynamoDB's expression language: conditions, filters, key conditions, updates and projections.

``tokens`` and ``parser`` turn text into the node classes of ``operands``, ``conditions`` and ``updates``, cached by
text; ``scope`` binds one request's placeholders.
"""
