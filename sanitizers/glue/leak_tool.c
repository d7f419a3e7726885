/* SPDX-License-Identifier: MIT */
/*
 * leak_tool.c - what the leak check asks of the tool.
 *
 * All of it weak: tools and their versions differ in what they tell.  clang's
 * ASan and LSan say which block of malloc's an address is in, if it is live;
 * gcc's ASan says so in two steps; gcc's LSan cannot be asked.
 */
#include "glue/leak.h"
#include "glue/leak_arch.h"

const void *__sanitizer_get_allocated_begin(const void *p)
	__attribute__((weak));
size_t __sanitizer_get_allocated_size(const volatile void *p)
	__attribute__((weak));
int __sanitizer_get_ownership(const volatile void *p) __attribute__((weak));
const char *__asan_locate_address(void *addr, char *name, size_t name_size,
				  void **start, size_t *size)
	__attribute__((weak));
void *__asan_get_current_fake_stack(void) __attribute__((weak));
void *__asan_addr_is_in_fake_stack(void *fake_stack, void *addr, void **start,
				   void **end) __attribute__((weak));
uintptr_t __asan_stack_malloc_0(size_t size) __attribute__((weak));
void __asan_stack_free_0(uintptr_t addr, size_t size) __attribute__((weak));
extern int __asan_option_detect_stack_use_after_return __attribute__((weak));

APB_RAW const char *leak_tool_name(void)
{
	return __asan_locate_address ? "AddressSanitizer" : "LeakSanitizer";
}

/* The tool says what is a block of its malloc. */
APB_RAW bool leak_tool_exact(void)
{
	return __sanitizer_get_allocated_begin || __asan_locate_address;
}

APB_RAW static bool locate(uintptr_t addr, uintptr_t *start, size_t *size)
{
	const char *kind;
	void *region;
	char name[8];

	/* the nearest block, live or not, and stacks and variables as well */
	kind = __asan_locate_address((void *)addr, name, sizeof(name), &region,
				     size);
	*start = (uintptr_t)region;
	return kind[0] == 'h' && kind[1] == 'e' && addr - *start < *size &&
	       __sanitizer_get_ownership(region);
}

APB_RAW bool leak_tool_chunk(uintptr_t addr, uintptr_t *start, size_t *size)
{
	if (!__sanitizer_get_allocated_begin)
		return __asan_locate_address && locate(addr, start, size);
	*start = (uintptr_t)__sanitizer_get_allocated_begin((void *)addr);
	if (!*start)
		return false;
	*size = __sanitizer_get_allocated_size((void *)*start);
	return addr - *start < *size;
}

/*
 * The calling thread's second stack, where locals are that use-after-return is
 * looked for in.  0: there are none.
 */
APB_RAW uintptr_t leak_tool_fake_stack(void)
{
	uintptr_t frame;

	if (!__asan_get_current_fake_stack || !__asan_addr_is_in_fake_stack ||
	    !&__asan_option_detect_stack_use_after_return ||
	    !__asan_option_detect_stack_use_after_return)
		return 0;
	/* it is made when it is needed first */
	if (!__asan_get_current_fake_stack() && __asan_stack_malloc_0 &&
	    __asan_stack_free_0) {
		frame = __asan_stack_malloc_0(64);
		if (frame)
			__asan_stack_free_0(frame, 64);
	}
	return (uintptr_t)__asan_get_current_fake_stack();
}

APB_RAW bool leak_tool_fake_frame(uintptr_t stack, uintptr_t addr,
				  uintptr_t *start, uintptr_t *end)
{
	void *first, *last;

	if (!__asan_addr_is_in_fake_stack((void *)stack, (void *)addr, &first,
					  &last))
		return false;
	*start = (uintptr_t)first;
	*end = (uintptr_t)last;
	return true;
}
