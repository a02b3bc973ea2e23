"""Other people's formats and names, translated to the stages. No stage knows of them."""
