"""A checkpoint made again: is what is stored what was made, and does it come out the same once more?

`target` finds what a checkpoint was made from, `verifying` looks at what is stored, `remaking` runs the assets again
from recorded inputs in a scratch project (`scratch`), `causes` tells what is otherwise here than it was then, and
`bundles` carries it all to another machine.
"""
