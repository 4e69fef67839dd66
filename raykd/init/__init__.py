"""How a student's weights start: functions of state dicts."""
