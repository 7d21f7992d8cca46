"""A provider that is none: three wires, scripted behaviour, a ledger of what was truly sent."""
