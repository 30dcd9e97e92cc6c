"""Reading networks of BindsNET."""
