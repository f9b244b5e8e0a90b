"""memaopt: certified, memory-optimal schedules for microcontrollers."""
