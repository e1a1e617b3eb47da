import os
import sys

sys.path[:0] = [os.path.join(os.path.dirname(__file__), ".."),
                os.path.join(os.path.dirname(__file__), "../openapi"),
                os.path.join(os.path.dirname(__file__), "../lid"),
                os.path.dirname(__file__)]
