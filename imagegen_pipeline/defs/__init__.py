"""What Dagster loads: assets, jobs, schedules, sensors, checks, resources, partitions, configs."""
