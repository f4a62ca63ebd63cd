# To be sourced: sets `std` to the options of cargo with which the standard library for $target is that of `rustup target add`,
# or else is made of the component rust-src. They are words.
if rustup target list --installed | grep --quiet --line-regexp "$target"; then
  unset RUSTC_BOOTSTRAP
  std=
else
  export RUSTC_BOOTSTRAP=1
  std=-Zbuild-std=std,panic_abort
fi
