// SPDX-License-Identifier: MIT
/* Lua: a chunk is compiled, and if wanted run, in a state of its own. */
#include "target.h"

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

#define INSTRUCTIONS 2000

static void *hook(void *arg, void *ptr, size_t old, size_t size)
{
	(void)arg;
	(void)old;
	if (size)
		return ptr ? target_realloc(ptr, size) : target_malloc(size);
	target_free(ptr);
	return NULL;
}

static void stop(lua_State *state, lua_Debug *debug)
{
	(void)debug;
	luaL_error(state, "enough");
}

static const luaL_Reg libraries[] = {
	{LUA_GNAME, luaopen_base},
	{LUA_TABLIBNAME, luaopen_table},
	{LUA_STRLIBNAME, luaopen_string},
	{LUA_MATHLIBNAME, luaopen_math},
	{NULL, NULL},
};

void target_run(const char *data, size_t size)
{
	lua_State *state = lua_newstate(hook, NULL);
	const luaL_Reg *library;

	if (!state)
		return;
	for (library = libraries; library->func; library++) {
		luaL_requiref(state, library->name, library->func, 1);
		lua_pop(state, 1);
	}
	lua_sethook(state, stop, LUA_MASKCOUNT, INSTRUCTIONS);
	if (!luaL_loadbufferx(state, data, size, "=input", "t") && target_more)
		lua_pcall(state, 0, 0, 0);
	if (target_deletes)
		lua_close(state);
}
