// SPDX-License-Identifier: MIT
/* The leak check. */
#include <apb/sanitize.h>

size_t apb_san_leak_check(void)
{
	return 0;
}
