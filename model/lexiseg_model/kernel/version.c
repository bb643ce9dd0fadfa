#include "kernel.h"

API int64_t lexiseg_kernel_version(void) { return LEXISEG_KERNEL_VERSION; }
