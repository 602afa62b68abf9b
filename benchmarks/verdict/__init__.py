"""The verdict under way: pipelines whose faults are planted, judged minute by minute."""
