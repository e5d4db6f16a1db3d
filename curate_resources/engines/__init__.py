"""Where stages run: in this process, or in pools of Ray actors."""
