// SPDX-License-Identifier: MIT
/* Choosing and opening the allocator under test; see target.h. */
#define _GNU_SOURCE /* dlmopen(), dladdr1(), setenv() beside strict C */
#include "target.h"

#include "arch.h"
#include "hooks.h"
#include "rules.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <unistd.h>

#define LIBC "libc.so.6"
#define TUNABLES "GLIBC_TUNABLES"
#define STATIC_TLS "glibc.rtld.optional_static_tls"
#define STATIC_TLS_BYTES "16384"
#define MAX_OBJECTS 256

struct target target;
const char *target_history;

/* What a name stands for; Debian's packages. */
static const struct {
	const char *name, *file;
} known[] = {
	{"glibc", LIBC},
	{"mimalloc", "libmimalloc.so.2"},
	{"jemalloc", "libjemalloc.so.2"},
	{"tcmalloc", "libtcmalloc_minimal.so.4"},
	{"tbbmalloc", "libtbbmalloc_proxy.so.2"},
	{"scudo", "/usr/lib/llvm-19/lib/clang/19/lib/linux/"
		  "libclang_rt.scudo_standalone-" ARCH_NAME ".so"},
};

/* The functions that are looked for, and those without which nothing goes. */
#define FUNCTION(name) {#name, offsetof(struct target, name)}
static const struct {
	const char *name;
	size_t at;
} functions[] = {
	FUNCTION(malloc),
	FUNCTION(free),
	FUNCTION(calloc),
	FUNCTION(realloc),
	FUNCTION(reallocarray),
	FUNCTION(aligned_alloc),
	FUNCTION(memalign),
	FUNCTION(posix_memalign),
	FUNCTION(valloc),
	FUNCTION(pvalloc),
	FUNCTION(malloc_usable_size),
	FUNCTION(free_sized),
	FUNCTION(free_aligned_sized),
	FUNCTION(malloc_trim),
};
#define NR_FUNCTIONS (sizeof(functions) / sizeof(functions[0]))
#define NR_NEEDED 2

static const struct link_map *before[MAX_OBJECTS];
static size_t nr_before;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt,
								...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("apb: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(2);
}

bool target_is(const char *word)
{
	const char *file = strrchr(target.path, '/');

	return !strcmp(target.name, word) ||
	       strstr(file ? file : target.path, word);
}

/* ---- objects ----------------------------------------------------------- */

static const struct link_map *first_object(void)
{
	void *self = dlopen(NULL, RTLD_NOW);
	const struct link_map *map = NULL;

	if (self)
		dlinfo(self, RTLD_DI_LINKMAP, (void *)&map);
	return map;
}

/* What is loaded before the target is. */
static void note_objects(void)
{
	const struct link_map *map = first_object();

	for (; map && nr_before < MAX_OBJECTS; map = map->l_next)
		before[nr_before++] = map;
}

/* Whether an object came with the target. */
static bool is_new(const struct link_map *map)
{
	for (size_t i = 0; i < nr_before; i++)
		if (before[i] == map)
			return false;
	return true;
}

/* dlsym() also finds what a library merely depends on. */
static void *find(void *handle, const char *name)
{
	void *fn = dlsym(handle, name);
	struct link_map *map = NULL;
	Dl_info info;

	if (!fn || !dladdr1(fn, &info, (void **)&map, RTLD_DL_LINKMAP) || !map)
		return NULL;
	return is_new(map) ? fn : NULL;
}

static void find_functions(void *handle)
{
	for (size_t i = 0; i < NR_FUNCTIONS; i++) {
		void *fn = find(handle, functions[i].name);

		if (!fn && i < NR_NEEDED)
			die("%s: has no %s()", target.path, functions[i].name);
		memcpy((char *)&target + functions[i].at, &fn, sizeof(fn));
	}
}

static void hook_objects(void)
{
	unsigned int hooked = 0;

	for (const struct link_map *map = first_object(); map;
	     map = map->l_next)
		if (is_new(map))
			hooked += hooks_object(map);
	target.hooked = hooked;
}

static void open_libc(void)
{
	void *handle = dlmopen(LM_ID_NEWLM, LIBC, RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		die("%s", dlerror());
	target.errno_location =
		(int *(*)(void))dlsym(handle, "__errno_location");
	target.thread_create =
		(int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
			 void *))dlsym(handle, "pthread_create");
	target.thread_join =
		(int (*)(pthread_t, void **))dlsym(handle, "pthread_join");
	find_functions(handle);
	target.hooked = hooks_libc(handle);
}

static void open_library(void)
{
	void *handle =
		dlopen(target.path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
	const struct link_map *map;

	if (!handle)
		die("%s", dlerror());
	if (!dlinfo(handle, RTLD_DI_LINKMAP, (void *)&map))
		target.path = map->l_name;
	target.errno_location = __errno_location;
	target.thread_create = pthread_create;
	target.thread_join = pthread_join;
	find_functions(handle);
	hook_objects();
}

/* ---- telling ------------------------------------------------------------ */

static void say_functions(bool there)
{
	for (size_t i = 0; i < NR_FUNCTIONS; i++) {
		void *fn;

		memcpy(&fn, (char *)&target + functions[i].at, sizeof(fn));
		if (!fn == !there)
			fprintf(stderr, " %s", functions[i].name);
	}
}

static void say_target(void)
{
	fprintf(stderr, "apb: target %s: %s\napb:   has:", target.name,
		target.path);
	say_functions(true);
	fputs("\napb:   has not, left out:", stderr);
	say_functions(false);
	fprintf(stderr, "\napb:   its calls of the kernel are %s\n",
		target.hooked ? "seen, and fail on demand" :
				"not seen: faults by RLIMIT_AS only");
	rules_say(stderr);
}

/* ---- before main() ------------------------------------------------------ */

/* Whether the process has what it needs and no arguments for us. */
static bool ready(void)
{
	const char *tunables = getenv(TUNABLES);

	return tunables && strstr(tunables, STATIC_TLS) &&
	       personality(0xffffffff) & ADDR_NO_RANDOMIZE;
}

/* The option's value, from this argument or the next one; NULL: another one. */
static const char *value_of(const char *option, char **argv, int *i)
{
	size_t len = strlen(option);
	const char *arg = argv[*i];

	if (strncmp(arg, option, len) || (arg[len] && arg[len] != '='))
		return NULL;
	if (arg[len] == '=')
		return arg + len + 1;
	if (!argv[*i + 1])
		die("%s: wants a value", option);
	return argv[++*i];
}

static bool take_option(char **argv, int *i)
{
	static const struct {
		const char *option, *variable;
	} options[] = {
		{"--target", "APB_TARGET"},
		{"--rules", "APB_RULES"},
		{"--history", "APB_HISTORY"},
	};

	for (size_t k = 0; k < sizeof(options) / sizeof(options[0]); k++) {
		const char *value = value_of(options[k].option, argv, i);

		if (!value)
			continue;
		setenv(options[k].variable, value, 1);
		return true;
	}
	return false;
}

static void set_environment(void)
{
	const char *old = getenv(TUNABLES);
	char text[512];

	snprintf(text, sizeof(text), "%s%s%s=%s", old ? old : "",
		 old && *old ? ":" : "", STATIC_TLS, STATIC_TLS_BYTES);
	if (!old || !strstr(old, STATIC_TLS))
		setenv(TUNABLES, text, 1);
	/* it would say each of them with a stack */
	setenv("TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD", "0", 0);
}

/* Take our options out of the arguments; execute anew if need be. */
static void prepare(int argc, char **argv)
{
	char **rest = calloc((size_t)argc + 1, sizeof(*rest));
	int nr = 0, taken = 0;

	if (!rest)
		die("out of memory");
	for (int i = 0; i < argc; i++) {
		if (i && take_option(argv, &i))
			taken++;
		else
			rest[nr++] = argv[i];
	}
	if (taken || !ready()) {
		int persona = personality(0xffffffff);

		if (getenv("APB_FOREIGN_AGAIN") && !taken)
			return; /* it is not to be had: go on without */
		setenv("APB_FOREIGN_AGAIN", "1", 1);
		set_environment();
		personality((unsigned long)persona | ADDR_NO_RANDOMIZE);
		execv("/proc/self/exe", rest);
		die("/proc/self/exe: %s", strerror(errno));
	}
	free(rest);
}

static void open_target(void)
{
	target.path = target.name;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(target.name, known[i].name))
			target.path = known[i].file;
	if (target.path == target.name && !strchr(target.name, '/'))
		die("TARGET=%s: neither a path nor one of glibc, mimalloc, "
		    "jemalloc, tcmalloc, tbbmalloc, scudo",
		    target.name);
	note_objects();
	if (!strcmp(target.path, LIBC))
		open_libc();
	else
		open_library();
}

__attribute__((constructor)) static void start(int argc, char **argv)
{
	const char *rules = getenv("APB_RULES");
	const char *error;

	prepare(argc, argv);
	target.name = getenv("APB_TARGET");
	target_history = getenv("APB_HISTORY");
	if (!target.name)
		die("which allocator? --target NAME|/path/lib.so, or "
		    "APB_TARGET");
	open_target();
	error = rules_set(rules ? rules : RULES_DEFAULT);
	if (error)
		die("RULES=%s: %s", rules, error);
	if (!getenv("APB_QUIET"))
		say_target();
}
