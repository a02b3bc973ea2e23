"""Programs made of the library. They may use everything; nothing in the library uses them."""
