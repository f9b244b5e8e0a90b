"""What memaopt is compared with: kernels in C run on the same board, CMSIS-DSP itself, and search-based tilers."""
