"""What an asset is made of, declared apart from any engine: tables, and the stages that fill them."""
