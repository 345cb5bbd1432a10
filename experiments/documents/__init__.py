"""The documents' sentences, each number held to the committed results."""
