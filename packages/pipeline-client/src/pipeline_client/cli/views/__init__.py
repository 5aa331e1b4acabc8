"""What is shown, as lines and as data: functions of the answers alone. Pure."""
