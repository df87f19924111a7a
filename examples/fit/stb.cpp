// SPDX-FileCopyrightText: Copyright Kokkos Attention contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The implementation of the stb header, in a file of its own: it is plain C.
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>
