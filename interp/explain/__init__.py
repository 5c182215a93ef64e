"""Why a detector decides as it does: its verdict in parts, its heads and directions in words."""
