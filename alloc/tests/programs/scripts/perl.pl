# SPDX-License-Identifier: MIT
# What perl allocates for, as far as perl-base goes: hashes, strings, closures,
# regular expressions, objects with destructors, children.
use strict;
use warnings;

my %count;
for my $i (0 .. 50000) {
	my $key = "key" . ($i * 7919 % 4999);
	push @{ $count{$key}{list} }, $i;
	$count{$key}{sum} += $i;
}
delete $count{"key$_"} for grep { $_ % 3 } 0 .. 4998;
print scalar(keys %count), " ", $count{key9}{sum}, " ",
    scalar(@{ $count{key9}{list} }), "\n";

my @sorted = sort { $count{$a}{sum} <=> $count{$b}{sum} || $a cmp $b }
    keys %count;
print "@sorted[0 .. 4]\n";

my $text = join " ", map { "w$_" } 1 .. 20000;
(my $copy = $text) =~ s/(\d)(\d+)/$2-$1/g;
my $n = () = $copy =~ /\b\w*7\w*\b/g;
print length($copy), " $n ", unpack("%32C*", $copy), "\n";

my $long = "";
$long .= chr(65 + $_ % 26) x ($_ % 100) for 1 .. 20000;
print length($long), " ", unpack("%32C*", reverse $long), "\n";
print length("x" x 5_000_000), "\n";

my @closures = map { my $v = $_; sub { $v += shift } } 1 .. 2000;
my $total = 0;
$total += $closures[$_ % 2000]->($_) for 1 .. 20000;
print "$total\n";

package Node {
	our $live = 0;
	sub new { my ($class, $next) = @_; $live++;
		return bless { next => $next, data => "n" x ($live % 50) }, $class }
	sub DESTROY { $live-- }
}
my $head;
$head = Node->new($head) for 1 .. 3000;
print "$Node::live ";
my $at = $head;
$at = $at->{next} for 1 .. 1000;
$head = $at;
print "$Node::live ";
undef $head;
undef $at;
print "$Node::live\n";

$| = 1;
for my $i (1 .. 3) {
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		my %mine = map { $_ => "x" x $_ } 1 .. 500;
		exit(keys(%mine) == 500 ? $i : 99);
	}
	waitpid $pid, 0;
	print $? >> 8, "\n";
}
open my $pipe, "-|", "echo from a pipe; seq 1 2000" or die;
my @lines = <$pipe>;
close $pipe or die;
print scalar(@lines), " $lines[0]";
print sprintf("%s|%10.3f|%-8s|%x\n", "a" x 10, 3.14159, "left", 255);
eval { die { code => 42, text => "y" x 1000 } };
print "$@->{code} ", length $@->{text}, "\n";
my $deep = [];
$deep = [$deep] for 1 .. 20000;
undef $deep;
print pack("N n C a10 H8", 1, 2, 3, "abc", "deadbeef") eq
    "\0\0\0\1\0\2\3abc\0\0\0\0\0\0\0\xde\xad\xbe\xef" ? "ok\n" : "not ok\n";
