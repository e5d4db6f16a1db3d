"""The world outside: storage, tables, and the engines that run stages."""
