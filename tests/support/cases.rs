//! One suite of cases for several pairs of a transport and a runtime.

/// Makes each case a test of each pair, as `pair::module::case`, which the program's own `bounded` runs.
macro_rules! cases {
    ($($pair:ident = $kind:ident),+ ; $cases:tt) => {
        $( cases! { @pair $pair, $kind, $cases } )+
    };
    (@pair $pair:ident, $kind:ident, { $($module:ident: $($case:ident)+;)+ }) => {
        mod $pair {
            $(mod $module {
                $(#[test]
                fn $case() {
                    use crate::pair::{$kind as Kind, Pair};
                    crate::bounded(|| Kind::run(crate::$module::$case::<Kind>()));
                })+
            })+
        }
    };
}
