from omni.adapters.openclaw.adapter import open_adapter, tools_of
from omni.adapters.service import serve

if __name__ == "__main__":
    serve("openclaw", open_adapter, tools_of)
