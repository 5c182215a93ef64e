"""Results that can be reproduced, one TOML file each: what was found, on what, how, and within which range."""
