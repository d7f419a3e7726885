-- SPDX-License-Identifier: MIT
-- Tables, an index, joins, groups, text functions, updates; in memory.
create table person(id integer primary key, name text, town text, born int);
create table sale(id integer primary key, person int, what text, price real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000)
insert into person select i, 'name ' || (i * 7919 % 30011),
	'town ' || (i * 31 % 977), 1900 + i % 120 from n;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 90000)
insert into sale select i, i * 17 % 30000 + 1,
	'thing ' || (i * 13 % 4999) || ' ' || hex(i), i * 37 % 1000 / 10.0 from n;
create index sale_person on sale(person);
create index person_town on person(town, born);
select count(*), sum(price) from sale join person on person.id = sale.person
	where town like 'town 1%';
select town, count(distinct what), group_concat(substr(name, 1, 8), ',')
	from person join sale on person.id = sale.person
	group by town order by 2 desc, 1 limit 5;
update sale set what = upper(what) || ' sold' where id % 3 = 0;
delete from sale where id % 10 = 7;
create table summary as select town, born, avg(price) as mean,
	json_group_array(what) as list from person
	join sale on person.id = sale.person group by town, born;
select count(*), sum(length(list)) from summary;
select json_extract(list, '$[0]') from summary order by mean, town, born
	limit 3;
