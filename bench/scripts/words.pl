#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Count the words of a text, index them by line, sort, join, substitute.
use strict;
use warnings;

my (%count, %lines, @text);
open(my $in, '<', $ARGV[0]) or die "$ARGV[0]: $!\n";
while (my $line = <$in>) {
	chomp $line;
	push @text, $line;
	for my $word (split / /, $line) {
		$count{$word}++;
		push @{$lines{$word}}, $.;
	}
}
close($in);
my @order = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
my $sum = 0;
for my $turn (1 .. 2) {
	for my $line (@text) {
		my $new = join('-', reverse split(/ /, $line));
		$new =~ s/([aeiou])/<$1>/g;
		$sum += length $new;
	}
}
for my $word (@order) {
	my %record = (word => $word, where => [@{$lines{$word}}]);
	$sum += scalar @{$record{where}};
}
print scalar(@order), " $order[0] $sum\n";
