"""A process that ends while it is looked at spoils no look at others."""

import os
import subprocess

import psutil
from living import commands, of_living


def test_those_that_have_ended_are_left_out():
    child = subprocess.Popen(["sleep", "300"])
    ended, living = psutil.Process(child.pid), psutil.Process()
    child.kill()
    child.wait(10)
    both = [ended, living]
    assert of_living(psutil.Process.ppid, both) == [os.getppid()]
    assert commands(both) == commands([living]) != []
